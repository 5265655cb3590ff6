package main

// The pictures of the page in the manual: `make screenshots` makes them anew.

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/png"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var screenshots = flag.Bool("screenshots", false, "write contrib/screenshots anew")

const (
	screenshotsDir = "contrib/screenshots"
	maxScreenshot  = 100 << 10 // bytes
)

// pictures are what is shown, by the name of the file.
var pictures = []struct {
	name, path    string
	width, height int64
}{
	{"chains", "/", 1000, 720},
	{"timeline", "/chain/shop:default", 1000, 800},
	{"deploy", "/chain/shop:default/-/deploy/6", 1000, 1094},
}

// unhurried gives each deploy a time of its own, as if they were not made within seconds, and the server the name that it
// has in the manual: the pictures differ only where the page does.
const unhurried = `(host => {
	const style = new Intl.DateTimeFormat("en-US", {dateStyle: "medium", timeStyle: "short"});
	const now = Date.now();
	for (const time of document.querySelectorAll("time")) {
		if (now - Date.parse(time.dateTime) > 3600e3) continue; // a commit's
		const of = time.closest("li")?.querySelector(".id") ?? document.querySelector("h1");
		const id = Number(of.textContent.match(/\d+/)?.[0] ?? 9);
		time.textContent = style.format(new Date(2026, 10, 2 + id, 7 + 5 * id % 12, 13 * id % 60));
	}
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const words = texts.currentNode.data.split(/\b/);
		texts.currentNode.data = words.map(word => word === host ? "h1" : word).join("");
	}
	return true;
})`

// takeScreenshots writes the pictures: of the same commits and people each time.
func takeScreenshots(p *pageWorld) {
	host, err := os.Hostname()
	if err != nil {
		p.Fatal(err)
	}
	b := p.signedIn(p, "ada")
	for _, picture := range pictures {
		b.do(chromedp.EmulateViewport(picture.width, picture.height))
		b.open(p.at+picture.path, 200)
		b.until(`document.readyState === "complete"`)
		eval[bool](b, unhurried+"("+quoteJS(host)+")")
		shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			p.Fatal(err)
		}
		small, err := quantize(shot)
		if err != nil {
			p.Fatal(err)
		}
		file := filepath.Join(moduleDir, screenshotsDir, picture.name+".png")
		if err := os.WriteFile(file, small, 0o644); err != nil {
			p.Fatal(err)
		}
		p.Logf("%s: %d bytes", file, len(small))
	}
}

// quantize makes a PNG smaller: with a palette of its 256 most frequent colors, each other color being the nearest of
// them. What a page has beyond that is in the edges of its letters.
func quantize(shot []byte) ([]byte, error) {
	decoded, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	bounds := decoded.Bounds()
	count := make(map[color.RGBA]int)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[color.RGBAModel.Convert(decoded.At(x, y)).(color.RGBA)]++
		}
	}
	var palette color.Palette
	for c := range count {
		palette = append(palette, c)
	}
	slices.SortFunc(palette, func(a, b color.Color) int {
		x, y := a.(color.RGBA), b.(color.RGBA)
		return cmp.Or(cmp.Compare(count[y], count[x]), cmp.Compare(x.R, y.R), cmp.Compare(x.G, y.G), cmp.Compare(x.B, y.B))
	})
	palette = palette[:min(len(palette), 256)]
	small := image.NewPaletted(bounds, palette)
	nearest := make(map[color.Color]uint8)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := decoded.At(x, y)
			at, ok := nearest[c]
			if !ok {
				at = uint8(palette.Index(c))
				nearest[c] = at
			}
			small.SetColorIndex(x, y, at)
		}
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small)
	return out.Bytes(), err
}

// The manual shows each picture, and none is large.
func TestPicturesAreShown(t *testing.T) {
	t.Parallel()
	shown := make(map[string]bool)
	for from, page := range pages(t) {
		if strings.Contains(page, "![](") {
			t.Errorf("%s: a picture without words for who cannot see it", from)
		}
		for _, target := range linksOf(page) {
			shown[path.Join(path.Dir(from), target)] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(moduleDir, screenshotsDir, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text := readFile(t, file)
		if _, err := png.DecodeConfig(strings.NewReader(text)); err != nil || len(text) > maxScreenshot {
			t.Errorf("%s: %d bytes, %v", file, len(text), err)
		}
		if name := path.Join(screenshotsDir, filepath.Base(file)); !shown[name] {
			t.Errorf("no page shows %s", name)
		}
	}
	if len(files) < len(pictures) {
		t.Errorf("%d pictures, want %d", len(files), len(pictures))
	}
}
