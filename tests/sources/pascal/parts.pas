unit Parts;
{$mode objfpc}{$H+}
interface
uses SysUtils;
type
  TShape = class
    function Area: Integer; virtual; abstract;
    destructor Destroy; override;
  end;
  EBroken = class(Exception)
    Code: Integer;
  end;
var
  Counter: Integer = 10;
procedure RaiseBroken(ACode: Integer);
implementation
destructor TShape.Destroy;
begin
  Inc(Counter);
  inherited;
end;
procedure RaiseBroken(ACode: Integer);
var
  E: EBroken;
begin
  E := EBroken.Create('broken');
  E.Code := ACode;
  raise E;
end;
initialization
  WriteLn('unit initialised');
finalization
  WriteLn('unit finalised');
end.
