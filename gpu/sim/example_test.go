package sim_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// double doubles one number a thread, in place.
const double = `.version 7.0
.target sm_80
.address_size 64
.entry double(.param .u64 x)
{
	.reg .b32 %r<2>;
	.reg .f32 %f<3>;
	.reg .b64 %rd<3>;
	ld.param.u64 %rd1, [x];
	mov.u32 %r1, %tid.x;
	mad.wide.u32 %rd2, %r1, 4, %rd1;
	ld.global.f32 %f1, [%rd2];
	add.f32 %f2, %f1, %f1;
	st.global.f32 [%rd2], %f2;
	ret;
}`

// A kernel in PTX runs without a GPU and without a driver.
func Example() {
	dev := sim.New(sim.Config{})
	mod, err := dev.Load("double.ptx", []byte(double))
	if err != nil {
		log.Fatal(err)
	}
	k, err := mod.Kernel("double")
	if err != nil {
		log.Fatal(err)
	}

	values := []float32{1, 2.5, -3, 4}
	data, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		log.Fatal(err)
	}
	x, err := dev.Alloc("x", int64(len(data)))
	if err != nil {
		log.Fatal(err)
	}
	if err := dev.Write(x, data); err != nil {
		log.Fatal(err)
	}

	params, err := k.Pack(x)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := dev.Launch(context.Background(), sim.Launch{Kernel: k, Block: sim.Dim{X: 4}, Params: params}); err != nil {
		log.Fatal(err)
	}

	if err := dev.Read(x, data); err != nil {
		log.Fatal(err)
	}
	if _, err := binary.Decode(data, binary.LittleEndian, values); err != nil {
		log.Fatal(err)
	}
	fmt.Println(values)

	// Output: [2 5 -6 8]
}

// What a GPU may pass over in silence is a report that names the line, the thread
// and the memory: here a thread too many.
func ExampleReport() {
	dev := sim.New(sim.Config{})
	mod, err := dev.Load("double.ptx", []byte(double))
	if err != nil {
		log.Fatal(err)
	}
	k, err := mod.Kernel("double")
	if err != nil {
		log.Fatal(err)
	}
	x, err := dev.Alloc("x", 4*4)
	if err != nil {
		log.Fatal(err)
	}
	if err := dev.Set(x, 0, 4, 4); err != nil {
		log.Fatal(err)
	}
	params, err := k.Pack(x)
	if err != nil {
		log.Fatal(err)
	}

	_, err = dev.Launch(context.Background(), sim.Launch{Kernel: k, Block: sim.Dim{X: 5}, Params: params})
	var report *sim.Report
	if !errors.As(err, &report) {
		log.Fatal(err)
	}
	fmt.Printf("%s in line %d, thread %v: %s\n", report.Kind, report.Line, report.Thread, report.Instr)

	// Output: out of bounds in line 12, thread [4 0 0]: ld.global.f32 %f1, [%rd2]
}
