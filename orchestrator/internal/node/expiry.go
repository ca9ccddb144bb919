package node

// expiryList links the active nodes in the order of their deadlines. All
// nodes have the same timeout, so the one that beat last has the last
// deadline: a beat moves it to the back, and the expired ones are at the front.
type expiryList struct {
	front, back *entry
	size        int
}

func (l *expiryList) contains(e *entry) bool { return e.prev != nil || e.next != nil || l.front == e }

// moveToBack inserts e or moves it.
func (l *expiryList) moveToBack(e *entry) {
	if l.back == e {
		return
	}
	l.remove(e)
	e.prev = l.back
	if l.back != nil {
		l.back.next = e
	} else {
		l.front = e
	}
	l.back = e
	l.size++
}

// remove takes e out; nothing happens when it is not in.
func (l *expiryList) remove(e *entry) {
	if !l.contains(e) {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.back = e.prev
	}
	e.prev, e.next = nil, nil
	l.size--
}
