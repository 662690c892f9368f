//! A crate that is linked as an rlib, an archive.
pub trait Shape {
    fn area(&self) -> f64;
}
pub struct Circle(pub f64);
impl Shape for Circle {
    fn area(&self) -> f64 {
        std::f64::consts::PI * self.0.powi(2)
    }
}
pub fn generic_sum<T: Copy + std::iter::Sum<T>>(values: &[T]) -> T {
    values.iter().copied().sum()
}
pub fn element(values: &[i32], index: usize) -> i32 {
    values[index]
}
