module shapes
  implicit none
  real(8), parameter :: pi = 3.14159265358979d0
  type, abstract :: shape
  contains
    procedure(area_of), deferred :: area
  end type
  abstract interface
    real(8) function area_of(self)
      import :: shape
      class(shape), intent(in) :: self
    end function
  end interface
  type, extends(shape) :: circle
    real(8) :: radius = 1
  contains
    procedure :: area => circle_area
  end type
  type, extends(shape) :: rectangle
    real(8) :: width = 1, height = 1
  contains
    procedure :: area => rectangle_area
  end type
contains
  real(8) function circle_area(self)
    class(circle), intent(in) :: self
    circle_area = pi * self%radius**2
  end function
  real(8) function rectangle_area(self)
    class(rectangle), intent(in) :: self
    rectangle_area = self%width * self%height
  end function
  recursive integer(8) function factorial(n) result(r)
    integer, intent(in) :: n
    r = 1
    if (n > 1) r = n * factorial(n - 1)
  end function
  subroutine count_calls(by)
    integer, intent(in) :: by
    integer :: total, calls
    common /counters/ total, calls
    integer, save :: mine = 0
    mine = mine + 1
    total = total + by
    calls = mine
  end subroutine
end module

block data
  integer :: total, calls
  common /counters/ total, calls
  data total, calls /100, 0/
end block data
