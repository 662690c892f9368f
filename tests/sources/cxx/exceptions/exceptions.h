#pragma once
struct Base {
  const char *text;
  explicit Base(const char *t) : text(t) {}
  virtual ~Base();
  virtual const char *what() const { return text; }
};
struct Derived : Base {
  using Base::Base;
  ~Derived() override;
  const char *what() const override;
};
void raise_kind(int kind);
int checked(int value);
void rethrow_wrapped();
int released();
