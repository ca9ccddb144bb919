package ownfile

import "io/fs"

// Trusted leaves it to the access lists of Windows who may write a file.
func Trusted(fs.FileInfo) error { return nil }

// TrustedFolder leaves it to the access lists of Windows who may write in a folder.
func TrustedFolder(fs.FileInfo) error { return nil }

// Owned leaves it to the access lists of Windows whose a file is.
func Owned(fs.FileInfo) error { return nil }

// secret leaves it to the access lists of Windows who may read a file.
func secret(fs.FileInfo) error { return nil }
