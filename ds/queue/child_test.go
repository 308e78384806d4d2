package queue_test

func child(role string) int { return 0 }
