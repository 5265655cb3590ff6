package code

import (
	"embed"
	"sync"

	"github.com/alecthomas/chroma/v2"
)

//go:embed lexers/*.xml
var lexerFiles embed.FS

// lexers are those of the directory lexers, read when the first page needs them. Chroma's own package of lexers reads
// its 300 when a program starts, which was a third of the time in which any command of refship did.
var lexers = sync.OnceValue(func() *chroma.LexerRegistry {
	all := chroma.NewLexerRegistry()
	files, err := lexerFiles.ReadDir("lexers")
	if err != nil {
		panic(err) // it is a part of the program
	}
	for _, file := range files {
		all.Register(chroma.MustNewXMLLexer(lexerFiles, "lexers/"+file.Name()))
	}
	return all
})
