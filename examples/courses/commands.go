package courses

import "github.com/annalsdb/annals/decider"

// DefineCourse offers a new course.
type DefineCourse struct {
	Course   string `json:"course"`
	Capacity int    `json:"capacity"`
}

// Validate checks the fields.
func (c DefineCourse) Validate() error { return validate(c.Course, c.Capacity) }

// Initial is the course before anything happened.
func (c DefineCourse) Initial() Course { return Course{ID: c.Course} }

// Decide defines a course once.
func (c DefineCourse) Decide(s Course) ([]Event, error) {
	if s.Defined {
		return nil, ErrDefined
	}
	return []Event{CourseDefined(c)}, nil
}

// ChangeCapacity gives a course more seats, or fewer. Who has a seat keeps it.
type ChangeCapacity struct {
	Course   string `json:"course"`
	Capacity int    `json:"capacity"`
}

// Validate checks the fields.
func (c ChangeCapacity) Validate() error { return validate(c.Course, c.Capacity) }

// Initial is the course before anything happened.
func (c ChangeCapacity) Initial() Course { return Course{ID: c.Course} }

// Decide changes the capacity of a course that exists.
func (c ChangeCapacity) Decide(s Course) ([]Event, error) {
	switch {
	case !s.Defined:
		return nil, ErrUnknownCourse
	case s.Capacity == c.Capacity:
		return nil, ErrSameCapacity
	}
	return []Event{CapacityChanged(c)}, nil
}

// Subscribe gives a student a seat in a course.
type Subscribe struct {
	Student string `json:"student"`
	Course  string `json:"course"`
}

// Validate checks the fields.
func (c Subscribe) Validate() error {
	var v decider.Invalid
	v.Check(c.Student != "", "student", "is required")
	v.Check(c.Course != "", "course", "is required")
	return v.Err()
}

// Initial is the course and the student before anything happened.
func (c Subscribe) Initial() Subscription {
	return Subscription{Course: Course{ID: c.Course}, Student: Student{ID: c.Student}}
}

// Decide gives the seat if the course and the student have room.
func (c Subscribe) Decide(s Subscription) ([]Event, error) {
	switch {
	case !s.Course.Defined:
		return nil, ErrUnknownCourse
	case s.Student.takes(c.Course):
		return nil, ErrSubscribed
	case s.Course.Taken >= s.Course.Capacity:
		return nil, ErrFull
	case len(s.Student.Courses) >= CoursesMax:
		return nil, ErrTooMany
	}
	return []Event{StudentSubscribed(c)}, nil
}

func validate(course string, capacity int) error {
	var v decider.Invalid
	v.Check(course != "", "course", "is required")
	v.Check(capacity > 0, "capacity", "must be positive")
	return v.Err()
}
