// Package courses is the course example of dcb.events: students subscribe to courses. A course has a number of seats, a
// student takes at most five courses, and both rules hold at once, for one event that belongs to both. There is no
// aggregate, no saga and no lock: the boundary of the decision is the course and the student.
package courses

import (
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// CoursesMax is how many courses a student may take.
const CoursesMax = 5

// Event is what can happen here.
type Event interface{ isEvent() }

// The events. Their tags say what they are about; none has a stream, for none belongs to one entity alone.
type (
	// CourseDefined says that a course is offered.
	CourseDefined struct {
		Course   string `json:"course" annals:"course"`
		Capacity int    `json:"capacity"`
	}
	// CapacityChanged gives a course more seats, or fewer.
	CapacityChanged struct {
		Course   string `json:"course" annals:"course"`
		Capacity int    `json:"capacity"`
	}
	// StudentSubscribed gives a student a seat in a course.
	StudentSubscribed struct {
		Student string `json:"student" annals:"student"`
		Course  string `json:"course" annals:"course"`
	}
)

func (CourseDefined) isEvent()     {}
func (CapacityChanged) isEvent()   {}
func (StudentSubscribed) isEvent() {}

// Schema lists the events.
var Schema = annals.NewSchema([]Event{CourseDefined{}, CapacityChanged{}, StudentSubscribed{}})

// The rules.
const (
	ErrDefined       = decider.Rule("course is defined already")
	ErrUnknownCourse = decider.Rule("course does not exist")
	ErrSameCapacity  = decider.Rule("capacity is unchanged")
	ErrFull          = decider.Rule("course is fully booked")
	ErrSubscribed    = decider.Rule("student is subscribed already")
	ErrTooMany       = decider.Rule("student takes too many courses")
)

// Course is what the rules of one course need to know.
type Course struct {
	ID       string
	Defined  bool
	Capacity int
	Taken    int
}

// Boundary is everything about the course.
func (c Course) Boundary() annals.Query { return annals.Tags("course:" + c.ID) }

// Evolve folds one event in.
func (c Course) Evolve(e Event) Course {
	switch e := e.(type) {
	case CourseDefined:
		c.Defined, c.Capacity = true, e.Capacity
	case CapacityChanged:
		c.Capacity = e.Capacity
	case StudentSubscribed:
		c.Taken++
	}
	return c
}

// Student is what the rules of one student need to know.
type Student struct {
	ID      string
	Courses []string
}

// Boundary is everything about the student.
func (s Student) Boundary() annals.Query { return annals.Tags("student:" + s.ID) }

// Evolve folds one event in.
func (s Student) Evolve(e Event) Student {
	if e, ok := e.(StudentSubscribed); ok {
		s.Courses = append(s.Courses, e.Course)
	}
	return s
}

func (s Student) takes(course string) bool { return slices.Contains(s.Courses, course) }

// Subscription is a course and a student: one decision over both.
type Subscription struct {
	Course  Course
	Student Student
}

// Boundary joins those of the parts.
func (s Subscription) Boundary() annals.Query { return s.Course.Boundary().Or(s.Student.Boundary()) }

// Evolve hands an event to the parts that it is about: the boundary delivers other students of the course, and other
// courses of the student, too.
func (s Subscription) Evolve(e Event) Subscription {
	if Schema.Match(s.Course.Boundary(), e) {
		s.Course = s.Course.Evolve(e)
	}
	if Schema.Match(s.Student.Boundary(), e) {
		s.Student = s.Student.Evolve(e)
	}
	return s
}
