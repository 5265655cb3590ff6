package mgmt

import (
	"errors"
	"fmt"
	"math"
)

// checkNesting walks over a gob stream and refuses one whose values nest deeper than a superblock's can, or that holds
// kinds of values that a superblock does not. encoding/gob descends into whatever it is given: a megabyte of
// directories, three bytes each, takes half a gigabyte of stack, and somewhat more ends the process, with no error to
// be returned. The stream's format is that of encoding/gob's documentation. What is not right in other ways is left to
// encoding/gob to say.
func checkNesting(stream []byte) error {
	s := &gobStream{types: map[int64]gobType{}}
	for s.rest = stream; len(s.rest) > 0; {
		message, err := s.bytes()
		if err != nil {
			return err
		}
		after := s.rest
		s.rest = message
		id, err := s.int()
		if err != nil {
			return err
		}
		if id >= 0 {
			if s.types[id].kind != gobStruct {
				return errGob
			}
			return s.value(id, 0) // the first value is the only one that is read
		}
		if id == math.MinInt64 {
			return errGob
		}
		if err := s.defineType(-id); err != nil {
			return err
		}
		s.rest = after
	}
	return errGob
}

var errGob = errors.New("not gob, or cut off")

// gobNesting is how deep values nest in a superblock: its struct, and for each directory a struct and a slice.
const gobNesting = 2*(maxDepth+1) + 1

// The ids of gob's own types that can be in a superblock. All of them but the last two are one number.
const (
	gobBool, gobInt, gobUint, gobFloat = 1, 2, 3, 4
	gobBytes, gobString                = 5, 6
)

// gobType is a type that the stream defines.
type gobType struct {
	fields []int64 // of a struct, their types
	elem   int64   // of a slice
	kind   gobKind
}

type gobKind int

const (
	gobUnknown gobKind = iota
	gobStruct
	gobSlice
	gobOpaque // has a length and bytes that only its own code can read, such as a time
)

type gobStream struct {
	rest  []byte
	types map[int64]gobType
}

// uint reads a number: one byte below 128, else the complement of how many bytes follow, big-endian.
func (s *gobStream) uint() (uint64, error) {
	if len(s.rest) == 0 {
		return 0, errGob
	}
	first := s.rest[0]
	s.rest = s.rest[1:]
	if first < 0x80 {
		return uint64(first), nil
	}
	n := -int(int8(first))
	if n > 8 || n > len(s.rest) {
		return 0, errGob
	}
	var x uint64
	for _, b := range s.rest[:n] {
		x = x<<8 | uint64(b)
	}
	s.rest = s.rest[n:]
	return x, nil
}

// int reads a number whose lowest bit says that the others are complemented.
func (s *gobStream) int() (int64, error) {
	x, err := s.uint()
	if x&1 != 0 {
		return ^int64(x >> 1), err
	}
	return int64(x >> 1), err
}

// bytes reads a length and as many bytes.
func (s *gobStream) bytes() ([]byte, error) {
	n, err := s.uint()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(s.rest)) {
		return nil, errGob
	}
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b, nil
}

// structFields reads a struct: before each of its fields that is not zero the distance from the one before, at the end
// a zero. It calls field with the number of each, to read it.
func (s *gobStream) structFields(field func(i int) error) error {
	for i := -1; ; {
		delta, err := s.uint()
		if err != nil || delta == 0 {
			return err
		}
		if delta > 1<<16 {
			return errGob
		}
		i += int(delta)
		if err := field(i); err != nil {
			return err
		}
	}
}

// value skips a value of a type.
func (s *gobStream) value(id int64, depth int) error {
	if depth > gobNesting {
		return fmt.Errorf("more than %d directories in each other", maxDepth)
	}
	switch id {
	case gobBool, gobInt, gobUint, gobFloat:
		_, err := s.uint()
		return err
	case gobBytes, gobString:
		_, err := s.bytes()
		return err
	}
	t := s.types[id]
	switch t.kind {
	case gobStruct:
		return s.structFields(func(i int) error {
			if i >= len(t.fields) {
				return errGob
			}
			return s.value(t.fields[i], depth+1)
		})
	case gobSlice:
		n, err := s.uint()
		for ; n > 0 && err == nil; n-- { // ends with the input: no value has less than a byte
			err = s.value(t.elem, depth+1)
		}
		return err
	case gobOpaque:
		_, err := s.bytes()
		return err
	}
	return fmt.Errorf("gob: a value of type %d in it, which no superblock has", id)
}

// defineType reads the definition of a type: a struct in which one field is set, by the kind of the type.
func (s *gobStream) defineType(id int64) error {
	var t gobType
	err := s.structFields(func(i int) error {
		switch i {
		case 1: // slice: what all types have, element
			t.kind = gobSlice
			return s.structFields(func(i int) (err error) {
				if i == 0 {
					return s.common()
				}
				t.elem, err = s.int()
				return err
			})
		case 2: // struct: what all types have, fields
			t.kind = gobStruct
			return s.structFields(func(i int) (err error) {
				if i == 0 {
					return s.common()
				}
				t.fields, err = s.fieldTypes()
				return err
			})
		case 4, 5, 6: // what encodes itself: what all types have
			t.kind = gobOpaque
			return s.structFields(func(int) error { return s.common() })
		}
		return errors.New("gob: defines an array or a map, which no superblock has")
	})
	s.types[id] = t
	return err
}

// common skips what all types have: name and id.
func (s *gobStream) common() error {
	return s.structFields(func(i int) (err error) {
		if i == 0 {
			_, err = s.bytes()
		} else {
			_, err = s.int()
		}
		return err
	})
}

// fieldTypes reads a struct's fields, each name and type, and keeps the types.
func (s *gobStream) fieldTypes() ([]int64, error) {
	n, err := s.uint()
	if err != nil || n > uint64(len(s.rest)) {
		return nil, errGob
	}
	types := make([]int64, n)
	for k := range types {
		err := s.structFields(func(i int) (err error) {
			if i == 0 {
				_, err = s.bytes()
			} else {
				types[k], err = s.int()
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return types, nil
}
