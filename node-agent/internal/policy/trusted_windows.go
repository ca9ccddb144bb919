package policy

import "io/fs"

// trusted leaves it to the access lists of Windows who may write a file.
func trusted(fs.FileInfo) error { return nil }
