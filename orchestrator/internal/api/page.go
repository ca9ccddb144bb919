package api

import (
	"google.golang.org/protobuf/proto"
)

// pageRequest is a request for a page of a list.
type pageRequest interface {
	GetPageSize() int32
	GetPageToken() string
}

// namedPage answers a page of a list that is held in memory, ordered by name:
// what passes and comes after the request's token, until the page is full or
// large.
func namedPage[T any, M proto.Message](
	req pageRequest, all []T, name func(*T) string, passes func(*T) bool, toProto func(*T) M,
) (page []M, next string, err error) {
	limit, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, "", err
	}
	after, err := pageCursor(req.GetPageToken())
	if err != nil {
		return nil, "", err
	}
	size, last := 0, ""
	for i := range all {
		if name(&all[i]) <= after || !passes(&all[i]) {
			continue
		}
		m := toProto(&all[i])
		size += proto.Size(m)
		if len(page) == limit || size > maxListBytes && len(page) > 0 {
			return page, pageToken(last), nil
		}
		page, last = append(page, m), name(&all[i])
	}
	return page, "", nil
}

// every passes all.
func every[T any](*T) bool { return true }
