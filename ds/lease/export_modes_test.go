package lease

// OrderKey returns the name of the key whose members are the waiters.
func OrderKey(name string) string { return namesOf("", name).order }

// QueueKey returns the name of the key that holds the tickets.
func QueueKey(name string) string { return namesOf("", name).queue }

// ReadersKey returns the name of the key whose members are the readers.
func ReadersKey(name string) string { return namesOf("", name).readers }

// ID returns the id of the acquisition.
func ID(l *Lease) string { return l.id }
