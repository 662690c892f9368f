{ Units, classes, exceptions, strings, sets, thread variables. }
program demo;
{$mode objfpc}{$H+}
uses SysUtils, Classes, Parts;

type
  TSquare = class(TShape)
    Side: Integer;
    constructor Create(ASide: Integer);
    function Area: Integer; override;
  end;

constructor TSquare.Create(ASide: Integer);
begin
  inherited Create;
  Side := ASide;
end;

function TSquare.Area: Integer;
begin
  Result := Side * Side;
end;

threadvar
  PerThread: Integer;
var
  Shape: TShape;
  List: TStringList;
  I: Integer;
  Numbers: array of Integer;
begin
  Shape := TSquare.Create(5);
  WriteLn('area ', Shape.Area, ' ', Shape.ClassName, ' ', Shape is TShape);
  Shape.Free;
  try
    RaiseBroken(3);
  except
    on E: EBroken do WriteLn('caught ', E.Message, ' ', E.Code);
  end;
  try
    Shape := nil;
    WriteLn(StrToInt('not a number'));
  except
    on E: EConvertError do WriteLn('convert error');
  end;
  List := TStringList.Create;
  List.Sorted := True;
  List.Add('symbol'); List.Add('linker'); List.Add('address');
  for I := 0 to List.Count - 1 do Write(List[I], ' ');
  WriteLn(List.IndexOf('linker'));
  List.Free;
  SetLength(Numbers, 1000);
  for I := 0 to High(Numbers) do Numbers[I] := I * I;
  WriteLn(Format('%d %s %.3f', [Numbers[999], UpperCase('text'), Sqrt(2.0)]));
  PerThread := 4;
  WriteLn(PerThread + Counter);
  WriteLn(StdErr, 'to standard error');
  Halt(42);
end.
