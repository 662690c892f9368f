! Modules, common blocks, allocatables, derived types with procedures, I/O, complex, C interoperation.
program main
  use shapes
  use, intrinsic :: iso_c_binding
  implicit none
  interface
    integer(c_int) function twice(x) bind(c, name='twice')
      import :: c_int
      integer(c_int), value :: x
    end function
    subroutine sort_numbers(n, values) bind(c, name='sort_numbers')
      import :: c_int, c_double
      integer(c_int), value :: n
      real(c_double) :: values(n)
    end subroutine
  end interface
  integer :: total, calls
  common /counters/ total, calls
  class(shape), allocatable :: s
  real(8), allocatable :: grid(:, :)
  real(8) :: values(6)
  complex(8) :: z
  character(len=40) :: text
  integer :: i, status
  real(8) :: wide(50000)

  allocate(grid(4, 5))
  grid = reshape([(real(i, 8), i = 1, 20)], [4, 5])
  print '(a,f8.2)', 'sum ', sum(matmul(transpose(grid), grid))
  allocate(circle :: s)
  select type (s)
  type is (circle)
    s%radius = 2
  end select
  write (*, '(a,f7.4)') 'area ', s%area()
  deallocate(s)
  allocate(s, source=rectangle(3d0, 4d0))
  write (*, '(a,f7.4)') 'area ', s%area()
  call count_calls(5)
  call count_calls(7)
  print *, 'common', total, calls
  z = exp((0d0, 1d0)) * (1d0, 2d0)
  print '(a,2f10.6)', 'complex', z
  write (text, '(i5.5,1x,a)') 42, trim('internal file  ')
  print *, trim(text), len_trim(text), index(text, 'file')
  values = [3d0, 1d0, 2d0, 6d0, 5d0, 4d0]
  call sort_numbers(6, values)
  print '(6f4.1)', values
  print *, 'twice', twice(21), factorial(10)
  wide = 1
  print '(f8.1)', sum(wide)
  open (unit=10, status='scratch')
  write (10, *) 17, 'scratch'
  rewind (10)
  read (10, *) i
  close (10)
  read (text, *, iostat=status) i
  write (0, *) 'read ', i, status /= 0
  flush (6)
  stop 42
end program
