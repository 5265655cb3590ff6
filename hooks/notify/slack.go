package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"refship/deploy/text"
)

// maxSlack bounds the text of a message, in bytes; Slack itself takes 40,000 characters.
const maxSlack = 3000

// slackSafe is what Slack wants to be escaped. Without it the subject of a commit could call a whole channel:
// https://api.slack.com/reference/surfaces/formatting#escaping.
var slackSafe = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

var slackText = template.Must(template.New("slack").Funcs(template.FuncMap{
	"safe": func(s string) string { return slackSafe.Replace(text.Printable(s)) },
}).Parse(`*{{.Kind}}* {{.Text | safe}}` +
	`{{with .Nodes}}{{range .Failed}}` + "\n" + `• {{.Name | safe}}: {{.Reason | safe}}{{end}}{{end}}`))

// slack gives the body that Slack's incoming webhooks take, and those of Mattermost, Rocket.Chat and others.
func slack(e *Event) ([]byte, error) {
	var b strings.Builder
	if err := slackText.Execute(&b, e); err != nil {
		return nil, fmt.Errorf("word event for Slack: %w", err)
	}
	body, err := json.Marshal(map[string]string{"text": text.Shorten(b.String(), maxSlack)})
	if err != nil {
		return nil, fmt.Errorf("encode event for Slack: %w", err)
	}
	return body, nil
}
