package weights

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/stylize-gpu/stylize/vgg"
)

// naming is how a file calls the convolutions: PREFIXfeatures.N, or PREFIXN where only the
// list of layers was saved, or PREFIXconvB_I as Caffe does. Wrappers of networks leave
// prefixes such as module., model. or vgg.
type naming struct {
	prefix string
	caffe  bool
}

func (n naming) layer(index int) string {
	if n.caffe {
		return n.prefix + vgg.Layers[index].Name
	}
	return fmt.Sprintf("%s%d", n.prefix, index)
}

// torchvision's is what a file has when nothing else is found.
var torchvision = naming{prefix: "features."}

// naming finds the names of a file: those under which the most convolutions are there. Two
// whole networks in a file are an error: nobody knows which is meant.
func (f *file) naming() (naming, error) {
	var found []naming
	for name := range f.tensors {
		if prefix, ok := strings.CutSuffix(name, "0.weight"); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			found = append(found, naming{prefix: prefix})
		}
		if prefix, ok := strings.CutSuffix(name, vgg.Layers[0].Name+".weight"); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			found = append(found, naming{prefix, true})
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].prefix < found[j].prefix })
	best, most := torchvision, f.has(torchvision)
	var whole []string
	for _, n := range found {
		has := f.has(n)
		if has > most {
			best, most = n, has
		}
		if has == vgg.Convs {
			whole = append(whole, n.layer(0))
		}
	}
	if len(whole) > 1 && most == vgg.Convs && best != torchvision {
		return best, formatErr("it holds more than one network (%s); keep one of them", strings.Join(whole, ", "))
	}
	return best, nil
}

// has counts the convolutions that are there under some names, in their shapes.
func (f *file) has(n naming) (count int) {
	for i, l := range vgg.Layers {
		if l.Kind != vgg.Conv {
			continue
		}
		if t, ok := f.tensors[n.layer(i)+".weight"]; ok && slices.Equal(t.shape, []int{l.K, l.C, 3, 3}) {
			count++
		}
	}
	return count
}

// another says which other network a file holds, if it is one that people take for this.
func (f *file) another(n naming) string {
	for name := range f.tensors {
		if strings.HasSuffix(name, ".running_mean") {
			return "; it is a network with batch normalisation, give torchvision's vgg19"
		}
	}
	if t, ok := f.tensors[n.layer(17)+".weight"]; ok && !n.caffe && len(t.shape) == 4 && t.shape[0] == 512 {
		return "; it is VGG16, give torchvision's vgg19"
	}
	if _, ok := f.tensors[n.prefix+"conv3_4.weight"]; n.caffe && !ok {
		return "; it is VGG16, give VGG19"
	}
	return ""
}
