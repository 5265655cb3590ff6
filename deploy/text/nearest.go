package text

// Nearest is the name that somebody may have meant by a mistyped one: that with the least edit distance (Levenshtein),
// if it is at most a third of the name's length; "" if there is none.
func Nearest(typed string, names []string) string {
	nearest, least := "", len(typed)/3+1
	for _, name := range names {
		if d := distance(typed, name); d < least {
			nearest, least = name, d
		}
	}
	return nearest
}

// distance is how many bytes have to be inserted, removed or replaced to make one text of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // of the row above, to the left
		row[0] = i + 1
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
