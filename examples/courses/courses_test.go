package courses_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/courses"
	"github.com/annalsdb/annals/store/memory"
)

type (
	defined    = courses.CourseDefined
	changed    = courses.CapacityChanged
	subscribed = courses.StudentSubscribed
)

func TestACourseIsDefinedOnce(t *testing.T) {
	t.Parallel()
	annalstest.When(t, courses.Schema, courses.DefineCourse{Course: "c1", Capacity: 10}).
		Given(defined{"c2", 10}).
		Then(defined{"c1", 10})
	annalstest.When(t, courses.Schema, courses.DefineCourse{Course: "c1", Capacity: 15}).
		Given(defined{"c1", 10}).
		ThenError(courses.ErrDefined)
	annalstest.When(t, courses.Schema, courses.DefineCourse{}).ThenInvalid("course", "capacity")
}

func TestTheCapacityOfAnExistingCourseChanges(t *testing.T) {
	t.Parallel()
	annalstest.When(t, courses.Schema, courses.ChangeCapacity{Course: "c0", Capacity: 15}).
		ThenError(courses.ErrUnknownCourse)
	annalstest.When(t, courses.Schema, courses.ChangeCapacity{Course: "c1", Capacity: 12}).
		Given(defined{"c1", 12}).
		ThenError(courses.ErrSameCapacity)
	annalstest.When(t, courses.Schema, courses.ChangeCapacity{Course: "c1", Capacity: 15}).
		Given(defined{"c1", 12}).
		Then(changed{"c1", 15})
}

func TestAStudentGetsASeatIfThereIsOne(t *testing.T) {
	t.Parallel()
	s1 := courses.Subscribe{Student: "s1", Course: "c1"}
	annalstest.When(t, courses.Schema, s1).ThenError(courses.ErrUnknownCourse)
	annalstest.When(t, courses.Schema, s1).
		Given(defined{"c1", 2}, subscribed{"s2", "c1"}, subscribed{"s3", "c2"}).
		Then(subscribed{"s1", "c1"})
	annalstest.When(t, courses.Schema, s1).
		Given(defined{"c1", 1}, subscribed{"s2", "c1"}).
		ThenError(courses.ErrFull)
	annalstest.When(t, courses.Schema, s1).
		Given(defined{"c1", 1}, subscribed{"s2", "c1"}, changed{"c1", 2}).
		Then(subscribed{"s1", "c1"})
	annalstest.When(t, courses.Schema, s1).
		Given(defined{"c1", 5}, subscribed{"s1", "c1"}).
		ThenError(courses.ErrSubscribed)
	annalstest.When(t, courses.Schema, courses.Subscribe{}).ThenInvalid("course", "student")
}

func TestAStudentTakesFiveCoursesAtMost(t *testing.T) {
	t.Parallel()
	past := []courses.Event{defined{"c1", 10}}
	for i := range courses.CoursesMax {
		past = append(past, subscribed{"s1", fmt.Sprint("x", i)})
	}
	annalstest.When(t, courses.Schema, courses.Subscribe{Student: "s1", Course: "c1"}).Given(past...).ThenError(courses.ErrTooMany)
	annalstest.When(t, courses.Schema, courses.Subscribe{Student: "s2", Course: "c1"}).Given(past...).Then(subscribed{"s2", "c1"})
	annalstest.When(t, courses.Schema, courses.Subscribe{Student: "s1", Course: "c1"}).Given(past[:courses.CoursesMax]...).Then(subscribed{"s1", "c1"})
}

func TestFortyStudentsRaceForSevenSeats(t *testing.T) {
	t.Parallel()
	const racers, seats = 40, 7
	ctx := t.Context()
	log := annals.NewLog(memory.New(), courses.Schema)
	if _, err := decider.Execute(ctx, log, courses.DefineCourse{Course: "c1", Capacity: seats}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() {
			_, errs[i] = decider.Execute(ctx, log, courses.Subscribe{Student: fmt.Sprint("s", i), Course: "c1"})
		})
	}
	wg.Wait()
	got := 0
	for _, err := range errs {
		switch {
		case err == nil:
			got++
		case !errors.Is(err, courses.ErrFull):
			t.Error(err)
		}
	}
	course, err := decider.Load(ctx, log, courses.Course{ID: "c1"})
	if err != nil || got != seats || course.State.Taken != seats {
		t.Errorf("%d students were told that they have a seat, %d have one: %v", got, course.State.Taken, err)
	}
	annalstest.Replay(t, log, courses.Course{ID: "c1"})
}

func TestAStudentWhoRacesForManyCoursesGetsFive(t *testing.T) {
	t.Parallel()
	const offered = 12
	ctx := t.Context()
	log := annals.NewLog(memory.New(), courses.Schema)
	for i := range offered {
		if _, err := decider.Execute(ctx, log, courses.DefineCourse{Course: fmt.Sprint("c", i), Capacity: 1}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range offered {
		wg.Go(func() {
			_, err := decider.Execute(ctx, log, courses.Subscribe{Student: "s1", Course: fmt.Sprint("c", i)})
			if err != nil && !errors.Is(err, courses.ErrTooMany) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	student, err := decider.Load(ctx, log, courses.Student{ID: "s1"})
	if err != nil || len(student.State.Courses) != courses.CoursesMax {
		t.Errorf("got %+v, %v", student, err)
	}
}
