// What an image linked before defines wins over weak, common and unique definitions, and not over strong or hidden ones.
//#Earlier: weak=0x1000 data 4
//#Earlier: common=0x2000 data 4
//#Earlier: strong=0x3000 data 4
//#Earlier: hidden_weak=0x4000 data 4
//#Earlier: undefined=0x5000 function
//#Earlier: unique=0x6000 data 4
//#Check: u64 uses = 0x1000
//#Check: u64 uses + 8 = 0x2000
//#Check: u64 uses + 16 = strong
//#Check: u64 uses + 24 = hidden_weak
//#Check: u64 uses + 32 = 0x5000
//#Check: u64 uses + 40 = 0x6000
    .data
uses:
    .quad weak, common, strong, hidden_weak, undefined, unique
    .weak weak, hidden_weak
    .hidden hidden_weak
    .globl strong, unique
    .comm common, 4, 4
    .type unique, @gnu_unique_object
weak: .long 1
strong: .long 2
hidden_weak: .long 3
unique: .long 4
