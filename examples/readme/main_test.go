package main

func Example() {
	main()
	// Output:
	// placed then, paid now
	// PayOrder rejected: order is not waiting to be paid
}
