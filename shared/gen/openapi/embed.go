// Package openapi holds the OpenAPI 3.1 document of the REST API, generated
// from shared/proto.
package openapi

import _ "embed" // for the document

// Document is the OpenAPI document as JSON.
//
//go:embed openapi.json
var Document []byte
