#pragma once
extern int destroyed;
struct Named {
  virtual ~Named();
  virtual const char *name() const { return "named"; }
};
struct Shape : virtual Named {
  virtual int area() const = 0;
  virtual Shape *clone() const { return nullptr; }
  ~Shape() override;
};
struct Square : virtual Shape {
  int side = 3;
  int area() const override;
  const char *name() const override { return "square"; }
  Square *clone() const override;
  int grown(int by) { return side + by; }
};
struct Round : virtual Shape {
  int radius = 2;
  int area() const override;
};
struct Diamond : Square, Round {
  int area() const override;
  const char *name() const override;
  Diamond *clone() const override;
};
Shape *make(int kind);
int Square::*side_pointer();
int (Square::*method_pointer())(int);
