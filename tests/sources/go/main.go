// Goroutines, channels, panics, maps, interfaces, closures.
package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"

	"./parts"
)

type square struct{ side int }

func (s square) Area() int { return s.side * s.side }

func recovered() (text string) {
	defer func() { text = fmt.Sprint("recovered ", recover()) }()
	var numbers []int
	return fmt.Sprint(numbers[len(os.Args)+5])
}

func main() {
	shapes := []parts.Shape{square{3}, parts.Circle{Radius: 2}}
	for _, s := range shapes {
		fmt.Printf("%T %d\n", s, s.Area())
	}
	var group sync.WaitGroup
	results := make(chan int, 10)
	for i := 0; i < 10; i++ {
		group.Add(1)
		go func(n int) { defer group.Done(); results <- parts.Fibonacci(n) }(i)
	}
	group.Wait()
	close(results)
	sum := 0
	for r := range results {
		sum += r
	}
	fmt.Println("sum", sum)
	fmt.Println(strings.Contains(recovered(), "out of range"))
	words := map[string]int{"b": 2, "a": 1}
	keys := []string{}
	for k := range words {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Println(keys, errors.Is(parts.Failing(), parts.Broken))
	os.Exit(42)
}
