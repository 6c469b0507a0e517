;; Takes values of several types and answers how many there were; what was allocated for a call is forgotten at its end.
(component
  (type $kind' (enum "small" "middle" "large"))
  (export $kind "kind" (type $kind'))
  (type $item' (record (field "id" u32) (field "live" bool) (field "kind" $kind) (field "weight" f64)))
  (export $item "item" (type $item'))

  (core module $M
    (memory (export "memory") 64)
    (global $heap (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $alignment i32) (param $size i32) (result i32)
      (local $pointer i32) (local $pages i32)
      (local.set $pointer
        (i32.and (i32.add (global.get $heap) (i32.sub (local.get $alignment) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $alignment))))
      (global.set $heap (i32.add (local.get $pointer) (local.get $size)))
      (local.set $pages (i32.shr_u (i32.add (global.get $heap) (i32.const 65535)) (i32.const 16)))
      (if (i32.gt_u (local.get $pages) (memory.size))
        (then (drop (memory.grow (i32.sub (local.get $pages) (memory.size))))))
      (local.get $pointer))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "count") (param i32 i32) (result i32) (global.set $heap (i32.const 1024)) (local.get 1)))
  (core instance $m (instantiate $M))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "realloc" (core func $realloc))

  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $m "add")))
  (func (export "bytes") (param "values" (list u8)) (result u32)
    (canon lift (core func $m "count") (memory $memory) (realloc $realloc)))
  (func (export "strings") (param "values" (list string)) (result u32)
    (canon lift (core func $m "count") (memory $memory) (realloc $realloc)))
  (func (export "items") (param "values" (list $item)) (result u32)
    (canon lift (core func $m "count") (memory $memory) (realloc $realloc)))
)
