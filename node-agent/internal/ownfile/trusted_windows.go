package ownfile

import "io/fs"

// Trusted leaves it to the access lists of Windows who may write a file.
func Trusted(fs.FileInfo) error { return nil }

// secret leaves it to the access lists of Windows who may read a file.
func secret(fs.FileInfo) error { return nil }
