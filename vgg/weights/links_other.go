//go:build !unix

package weights

import "github.com/stylize-gpu/stylize/vgg/atomicfile"

func others(atomicfile.File) bool { return false }
