package batch

// Plan is what a run would do with an item.
type Plan struct {
	Item    *Item
	Key     Key
	Output  string
	Verdict Verdict
	Err     error // it cannot be painted
	Why     string
	W, H    int     // of its last level
	FLOPs   float64 // about
}

// Plans hands over what Run would do with each item, in its order. It reads files, and
// writes nothing. each returns false to stop.
func (b *Batch) Plans(each func(Plan) bool) {
	for _, p := range b.List.Problems {
		it := p.Item
		if it == nil {
			it = &Item{Content: p.What}
		}
		if !each(Plan{Item: it, Output: it.Output, Verdict: ToPaint, Err: p.Err}) {
			return
		}
	}
	outputs := map[string]bool{}
	for _, it := range b.List.Items {
		l := b.look(it)
		p := Plan{Item: it, Key: l.key, Output: l.output, Verdict: l.verdict, Err: l.err, Why: l.what, FLOPs: it.flops}
		levels := it.stages(b.Snap)
		p.W, p.H = levels[len(levels)-1].W, levels[len(levels)-1].H
		if l.err == nil && l.verdict != IsDone && outputs[l.output] {
			p.Verdict, p.Why = IsDone, "the same picture as another item"
		}
		outputs[l.output] = true
		if !each(p) {
			return
		}
	}
}
