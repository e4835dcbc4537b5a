package main

// What the commands say of themselves beside their flags.

const runHelp = `Arguments stand in the order of the kernel's parameters. KERNEL is a name, or a
part of a demangled one that no other kernel has: gemm<128.

   ptxsim run saxpy.ptx saxpy --grid 4 --block 256 y=zeros:f32:1000 rand:f32:1000 2 1000 --out y=y.npy

A buffer that an argument makes has the parameter's name, or its own with NAME= in
front. --buffer makes buffers that are not arguments, for tensor maps and structs.
`

const scriptHelp = `A statement stands on a line, in the words and with the flags of run. # begins a
comment, \ at the end goes on in the next line, quotes keep spaces together. Names of
files are relative to the script.

   load FILE.ptx                   several may be loaded
   buffer NAME=BUFFER              make a buffer
   map NAME=MAP                    give a tensor map or a struct a name
   set NAME=VALUE                  of a buffer, or of a .const or .global variable
   copy TO=FROM [--bytes N]        on the device
   launch KERNEL [ARGUMENT…] [--grid G] [--block B] [--cluster C] [--shared N]
   expect NAME=VALUE [--within X] [--relative X]
                                   the script goes on, and ends with exit code 1
   print NAME
   out NAME=FILE.npy               or FILE.raw, FILE.bin: the bytes alone

   ptxsim script docs/ptxsim-blur.script --mode all
`

const wordsHelp = `
NAME stands for a buffer or a variable; NAME+16 begins 16 bytes further, and where one
is set, expected, printed or written, NAME:f16 sees it as another type.

   7  -3  1.5  0x10                a number, of the parameter's type
   f32:1.5                         one that says its type
   y  y+16                         the address of a buffer or a variable
   zeros:f32:1000                  a buffer of zeros; a shape may be 20x50
   empty:f32:1000                  one that counts as uninitialised
   fill:f32:1000:1.5               one value everywhere
   range:f32:1000[:FROM[:STEP]]    0, 1, 2, …
   rand:f32:1000[:SEED]            uniform in [-1, 1); whole numbers over their range
   values:f32:1,2.5,3              these
   x.npy                           a NumPy array
   raw:FILE  raw:f32:FILE          the bytes of a file
   {f32:1.5,u32:7,ptr:y,{u8:1}}    a struct: its fields as C lays them out; ptr:y or y is
                                   an address, pad:4 a gap, hex:00ff bytes
   hex:00ff10  bytes:FILE          the bytes of a struct, all of them
   map:NAME:f16:64x16x8:64x8x4     a tensor map (128 bytes) of a buffer: extents and box,
                                   innermost first. Behind it, with colons between:
                                   swizzle=128, strides=128x2048 (bytes, without the
                                   innermost), steps=1x2x1 (element strides), fill=nan
   im2col:NAME:f16:64x16x8x2:lower=-1x-1:upper=-1x-1:channels=64:pixels=128
                                   one in im2col mode; steps, swizzle and fill as above

Types: f16 bf16 f32 f64, u8 … u64, s8 … s64 or i8 … i64, b8 … b64.
`

const exitHelp = `
Exit code: 0 clean and as expected, 1 a check reports, an expectation is not met or a
result cannot be written, 2 bad usage, files or PTX that cannot run, 130 interrupted.
Warnings are what rests on no rule, and results that depend on the mode; they count as
reports with --strict only.`
