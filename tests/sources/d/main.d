// Classes, exceptions, garbage collection, closures, associative arrays, thread-local data, module constructors.
import core.memory, core.thread;
import std.stdio;
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
    foreach (s; shapes)
        writeln("area ", s.area());
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
    int sum;
    foreach (age; ages.values)
        sum += age;
    writeln(ages.length, " ", sum, " ", "b" in ages ? "has b" : "");
    auto add = adder(10);
    writeln("closure ", add(1), " ", add(2));
    auto t = new Thread({ writeln("thread ", perThread++, " ", tlsOf()); });
    t.start();
    t.join();
    writeln("main ", perThread, " ", tlsOf(), " ", shared_);
    foreach (i; 0 .. 200)
        new ubyte[10_000];
    GC.collect();
    writeln((cast(Object) shapes[0]).toString(), " ", Pair!int(1, 2).sum);
    stderr.writeln("stderr");
    return 42;
}
