package dispatch

// indexed is a heap of things that each know where in it they are, so that they
// can be taken out, or put right, from anywhere. The first is at 0.
type indexed[T any, O heapOrder[T]] []T

// heapOrder is an order, which must not change for what is in the heap but
// followed by fix.
type heapOrder[T any] interface {
	before(a, b T) bool
	// moved tells a thing its place; -1: it is in the heap no more.
	moved(x T, place int)
}

func (h *indexed[T, O]) push(x T) {
	*h = append(*h, x)
	h.up(len(*h) - 1)
}

// remove takes out what is at a place.
func (h *indexed[T, O]) remove(place int) {
	var order O
	list := *h
	last := len(list) - 1
	gone, moved := list[place], list[last]
	var none T
	list[last] = none
	*h = list[:last]
	order.moved(gone, -1)
	if place != last {
		list[place] = moved
		h.fix(place)
	}
}

// fix puts right what is at a place, after its order may have changed.
func (h *indexed[T, O]) fix(place int) {
	if !h.down(place) {
		h.up(place)
	}
}

func (h *indexed[T, O]) up(place int) {
	var order O
	list := *h
	x := list[place]
	for place > 0 {
		parent := (place - 1) / 2
		if !order.before(x, list[parent]) {
			break
		}
		list[place] = list[parent]
		order.moved(list[place], place)
		place = parent
	}
	list[place] = x
	order.moved(x, place)
}

// down says whether it moved anything.
func (h *indexed[T, O]) down(place int) bool {
	var order O
	list := *h
	x, from := list[place], place
	for {
		child := 2*place + 1
		if child >= len(list) {
			break
		}
		if other := child + 1; other < len(list) && order.before(list[other], list[child]) {
			child = other
		}
		if !order.before(list[child], x) {
			break
		}
		list[place] = list[child]
		order.moved(list[place], place)
		place = child
	}
	list[place] = x
	order.moved(x, place)
	return place != from
}
