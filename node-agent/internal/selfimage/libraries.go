package selfimage

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// librariesOf gives what a dynamically linked program needs to run in an image
// of its own: the loader and the libraries, where the loader looks for them. A
// released node agent is static and needs none, but "go run" on a machine with
// a C compiler links dynamically.
func librariesOf(program string) ([]imageFile, error) {
	file, err := elf.Open(program)
	if err != nil {
		return nil, fmt.Errorf("%s is not a program for Linux: %w", program, err)
	}
	defer file.Close()
	loader, err := loaderOf(file)
	if err != nil || loader == "" {
		return nil, err
	}
	c := &closure{dirs: libraryDirs(file), seen: map[string]bool{}}
	c.files = append(c.files, imageFile{source: loader, target: loader})
	c.seen[filepath.Base(loader)] = true
	if err := c.add(file); err != nil {
		return nil, err
	}
	return c.files, nil
}

// maxLibraries bounds the search; a node agent needs about five.
const maxLibraries = 64

// closure collects libraries and what those need.
type closure struct {
	dirs  []string
	seen  map[string]bool
	files []imageFile
}

func (c *closure) add(file *elf.File) error {
	names, err := file.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("read the needed libraries: %w", err)
	}
	for _, name := range names {
		if c.seen[name] {
			continue
		}
		c.seen[name] = true
		if len(c.files) >= maxLibraries {
			return fmt.Errorf("the program needs more than %d libraries: build it with CGO_ENABLED=0", maxLibraries)
		}
		if err := c.addNamed(name); err != nil {
			return err
		}
	}
	return nil
}

func (c *closure) addNamed(name string) error {
	for _, dir := range c.dirs {
		found := filepath.Join(dir, name)
		if _, err := os.Stat(found); err != nil {
			continue
		}
		library, err := elf.Open(found)
		if err != nil {
			continue // a linker script of the same name, say
		}
		c.files = append(c.files, imageFile{source: found, target: found})
		err = c.add(library)
		return errors.Join(err, library.Close())
	}
	return fmt.Errorf("library %s is not in %s: build the program with CGO_ENABLED=0", name, strings.Join(c.dirs, ", "))
}

// loaderOf gives the path of the program's dynamic loader; empty: it is static.
func loaderOf(file *elf.File) (string, error) {
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		const most = 4096 // PATH_MAX
		if segment.Filesz > most {
			return "", errors.New("the program's loader has a name that is too long")
		}
		name := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(name, 0); err != nil {
			return "", fmt.Errorf("read the program's loader: %w", err)
		}
		return strings.TrimRight(string(name), "\x00"), nil
	}
	return "", nil
}

// libraryDirs are where loaders look without a cache: the program's own paths,
// then those of Debian, Fedora and Alpine.
func libraryDirs(file *elf.File) []string {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := file.DynString(tag)
		if err != nil {
			continue // it has none
		}
		for _, list := range paths {
			for dir := range strings.SplitSeq(list, ":") {
				if filepath.IsAbs(dir) {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	triplets := map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}
	if triplet := triplets[file.Machine]; triplet != "" {
		dirs = append(dirs, "/lib/"+triplet, "/usr/lib/"+triplet)
	}
	return append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
}
