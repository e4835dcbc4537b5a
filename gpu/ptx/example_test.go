package ptx_test

import (
	"fmt"
	"log"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// A source becomes a tree: here the kernels with their parameters and instructions.
func Example() {
	m, err := ptx.Parse("scale.ptx", []byte(`.version 7.0
.target sm_80
.address_size 64
.visible .entry scale(.param .u64 x, .param .f32 by)
{
	.reg .f32 %f<4>;
	.reg .b64 %rd<2>;
	ld.param.u64 %rd1, [x];
	ld.param.f32 %f1, [by];
	ld.global.f32 %f2, [%rd1];
	mul.f32 %f3, %f1, %f2;
	st.global.f32 [%rd1], %f3;
	ret;
}`))
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range m.Entries {
		fmt.Printf("%s takes %d bytes:\n", e.Name, e.ParamBytes)
		for _, p := range e.Params {
			fmt.Println(" ", p.Type, p.Name)
		}
		for _, in := range e.Code {
			fmt.Printf("line %d: %v\n", in.Pos.Line, in)
		}
	}

	// Output:
	// scale takes 12 bytes:
	//   u64 x
	//   f32 by
	// line 8: ld.param.u64 %rd1, [x]
	// line 9: ld.param.f32 %f1, [by]
	// line 10: ld.global.f32 %f2, [%rd1]
	// line 11: mul.f32 %f3, %f1, %f2
	// line 12: st.global.f32 [%rd1], %f3
	// line 13: ret
}

// What is not PTX is an error with the kernel and the place.
func ExampleError() {
	_, err := ptx.Parse("bad.ptx", []byte(`.version 7.0
.target sm_80
.address_size 64
.entry k()
{
	.reg .f32 %f<2>;
	frobnicate.f32 %f1, %f1;
}`))
	fmt.Println(err)

	// Output: bad.ptx:7:2 in k: unknown opcode frobnicate in frobnicate.f32
}
