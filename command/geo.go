package command

import "github.com/redisx/redisx/resp3"

// Unit is a unit of distance.
type Unit string

// The units that servers know.
const (
	Meters     Unit = "m"
	Kilometers Unit = "km"
	Miles      Unit = "mi"
	Feet       Unit = "ft"
)

// Position is a place on earth, in degrees. Servers keep it to about half a
// metre, and take latitudes up to 85.05112878 degrees only.
type Position struct {
	Longitude float64 // -180 to 180
	Latitude  float64
}

// GeoMember is a member of a sorted set with its place.
type GeoMember struct {
	Position
	Member string
}

// At returns a GeoMember.
func At(longitude, latitude float64, member string) GeoMember {
	return GeoMember{Position{longitude, latitude}, member}
}

// GeoFound is a member that a search found.
type GeoFound struct {
	GeoMember
	Distance float64 // from where the search began, in the unit of its shape
}

func (r *Request) located(list []GeoMember) {
	r.grow(3 * len(list))
	for _, m := range list {
		r.Add(Float(m.Longitude))
		r.Add(Float(m.Latitude))
		r.Add(Str(m.Member))
	}
}

// AsPosition reads a longitude and a latitude.
func AsPosition(v resp3.View) (p Position, err error) {
	if v.IsNull() {
		return p, Nil
	}
	e, err := tuple(v, 2)
	if err != nil {
		return p, err
	}
	if err = into(&p.Longitude, e[0], AsFloat); err == nil {
		err = into(&p.Latitude, e[1], AsFloat)
	}
	return p, err
}

// AsPositions reads the places of members, absent ones as such.
func AsPositions(v resp3.View) ([]Optional[Position], error) {
	return slice(v, func(e resp3.View) (Optional[Position], error) { return optional(e, AsPosition) })
}

// AsGeoFound reads members with their distances and places.
func AsGeoFound(v resp3.View) ([]GeoFound, error) {
	return slice(v, func(v resp3.View) (f GeoFound, err error) {
		e, err := tuple(v, 3)
		if err != nil {
			return f, err
		}
		if err = into(&f.Member, e[0], AsString); err != nil {
			return f, err
		}
		if err = into(&f.Distance, e[1], AsFloat); err == nil {
			err = into(&f.Position, e[2], AsPosition)
		}
		return f, err
	})
}
