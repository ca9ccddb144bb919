package responses

import (
	"slices"
	"strings"
)

func (p *rawPart) read(at string, allowed []string) (piece, error) {
	if !slices.Contains(allowed, p.Type) {
		return piece{}, wrong(at+".type", "is %q, want %s", clip(p.Type), strings.Join(allowed, " or "))
	}
	switch p.Type {
	case "input_image":
		return p.picture(at)
	case "refusal":
		if p.Refusal == nil {
			return piece{}, wrong(at+".refusal", "is required")
		}
		return piece{text: *p.Refusal}, nil
	}
	if p.Text == nil {
		return piece{}, wrong(at+".text", "is required")
	}
	return piece{text: *p.Text}, nil
}

func (p *rawPart) picture(at string) (piece, error) {
	if p.ImageURL == "" {
		if len(p.FileID) > 0 && string(p.FileID) != "null" {
			return piece{}, wrong(at+".file_id", "cannot be used with this engine: no files are kept; send the picture as image_url, with its data or address")
		}
		return piece{}, wrong(at+".image_url", "is required")
	}
	out := piece{image: p.ImageURL}
	switch p.Detail {
	case "", "auto":
	case "low", "high":
		out.detail = p.Detail
	default:
		return piece{}, wrong(at+".detail", "is %q, want auto, low or high", clip(p.Detail))
	}
	return out, nil
}
