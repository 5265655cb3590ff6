// Package text puts numbers, times and foreign text into words for people.
//
// Everything is English and depends on nothing but the arguments. What is written is one line without a newline, if
// what is handed in is one: [Printable], [Mention], [QuotePath] make one of anything.
//
// Text from outside (a commit's subject, a file's name, an argument) can hold characters that move a terminal's cursor,
// hide what follows, or turn its direction. It goes through one of these before it is shown:
//
//	Printable   in running text: a\u202eb
//	Mention     as a word that is being talked about: "a\u202eb", in quotes where it is not plain
//	QuotePath   a path in data, as git writes it: "a\342\200\256b"; git's own tools read that
//	Quote       a word of a command that can be pasted into a shell
//
// Each is the text itself where nothing in it has to be escaped. Quote keeps control characters: it is for a command's
// meaning.
//
// [BadRepositoryName] is here because everybody may need it: keys for their rules, the repositories for themselves.
package text
