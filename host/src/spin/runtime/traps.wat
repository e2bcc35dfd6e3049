;; A component whose handler traps. Regenerate traps.wasm with `wasm-tools parse traps.wat -o traps.wasm`. The tests
;; don't parse this file because wasmtime's `wat` feature would cause a second build of wasmtime.
(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $module (func (export "handle") (param i32 i32) unreachable))
  (core instance $instance (instantiate $module))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $instance "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
