package coord

// MembersJoin is the script whose answers the tests lose.
var MembersJoin = membersLua.join
