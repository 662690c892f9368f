package parts

import (
	"errors"
	"fmt"
)

type Shape interface{ Area() int }
type Circle struct{ Radius int }

func (c Circle) Area() int { return 3 * c.Radius * c.Radius }

var Broken = errors.New("broken")

func Failing() error { return fmt.Errorf("wrapped: %w", Broken) }

func Fibonacci(n int) int {
	if n < 2 {
		return n
	}
	return Fibonacci(n-1) + Fibonacci(n-2)
}
