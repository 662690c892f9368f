inline int *counter() { static int count = 40; return &count; }
template <class T> struct Cell { static int value; };
template <class T> int Cell<T>::value = 1;
int *counter_there() { return counter(); }
int *cell_there() { return &Cell<int>::value; }
