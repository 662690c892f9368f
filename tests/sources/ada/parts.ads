with Ada.Finalization;

package Parts is
   Too_Large : exception;
   function Checked (N : Integer) return Integer;
   function Index (N : Integer) return Integer;
   procedure Through_C;

   type Integers is array (Positive range <>) of Integer;

   generic
      type Item is range <>;
      with function "<" (A, B : Item) return Boolean is <>;
   procedure Sort (Values : in out Integers);

   protected Total is
      procedure Add (N : Integer);
      function Value return Integer;
   private
      Sum : Integer := 0;
   end Total;

   Alive : Integer := 0;
   type Traced is new Ada.Finalization.Controlled with null record;
   overriding procedure Initialize (T : in out Traced);
   overriding procedure Finalize (T : in out Traced);

   type Shape is abstract tagged null record;
   function Area (S : Shape) return Integer is abstract;
   type Rectangle is new Shape with record
      Width, Height : Integer;
   end record;
   overriding function Area (S : Rectangle) return Integer;
   function Make return Shape'Class;
end Parts;
