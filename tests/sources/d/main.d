// Classes, exceptions, garbage collection, closures, associative arrays, thread-local data, module constructors.
import core.memory, core.thread;
import std.algorithm, std.array, std.conv, std.stdio, std.string;
import other;

int perThread = 5;
__gshared int shared_;
static this() { perThread += 1; }
shared static this() { shared_ = 10; }
static ~this() { say("thread destructor"); }

class Square : Shape {
    int side;
    this(int s) { side = s; }
    override int area() { return side * side; }
}

int main(string[] arguments) {
    Shape[] shapes = [cast(Shape) new Square(3), new Circle(2)];
    writeln("areas ", shapes.map!(s => s.area()).array);
    try
        raise(7);
    catch (Broken e)
        writeln("caught ", e.msg, " ", e.code);
    int cleanups;
    try {
        scope (exit) cleanups++;
        auto numbers = [1, 2, 3];
        writeln(numbers[arguments.length + 7]);
    } catch (Error e)
        writeln("range error ", cleanups);
    int[string] ages = ["a": 1, "b": 2];
    ages["c"] = 3;
    writeln(ages.keys.sort, " ", ages.values.sum);
    auto add = adder(10);
    writeln("closure ", add(1), " ", add(2));
    auto t = new Thread({ writeln("thread ", perThread++, " ", tlsOf()); });
    t.start();
    t.join();
    writeln("main ", perThread, " ", tlsOf(), " ", shared_);
    foreach (i; 0 .. 200)
        new ubyte[10_000];
    GC.collect();
    writeln(format("%s %05d %.3f", cast(Object) shapes[0], 42, 3.14159), " ", "12".to!int, " ", Pair!int(1, 2).sum);
    stderr.writeln("stderr");
    return 42;
}
