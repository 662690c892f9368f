// Inline functions, vtables and type information of C++, in two objects: one copy of each, and their unwind tables.
//#Compilers: g++ clang++-19
//#Parts: 2
//#Define: __gxx_personality_v0=0x1000 function
//#Define: _ZTVN10__cxxabiv117__class_type_infoE=0x2000 data 88
//#Define: _ZTVN10__cxxabiv120__si_class_type_infoE=0x3000 data 88
//#Define: _ZdlPvm=0x4000 function
//#Define: _Unwind_Resume=0x5000 function
//#Run: 42
//#Case: default
//#Flags: -O0 -g
//#Case: pic
//#Flags: -O1 -fPIC -ffunction-sections
struct Shape {
    virtual int area() const { return 0; }
    virtual ~Shape() = default;
};
struct Square : Shape {
    int side;
    Square(int side) : side(side) {}
    int area() const override { return side * side; }
};
inline int twice(int n) { return n * 2; }

#if PART == 1
int other(const Shape &shape);
extern "C" int run() {
    Square square(4);
    return other(square) + twice(5);
}
#else
int other(const Shape &shape) {
    return shape.area() + twice(8);
}
#endif
