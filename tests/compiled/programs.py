"""Small programs in the compiler's words."""

LOOP = """HloModule jit_step, is_scheduled=true

%fused (param_0: bf16[8,512], param_1: s32[]) -> bf16[1,512] {
  %param_0 = bf16[8,512]{1,0:T(8,128)(2,1)} parameter(0)
  %param_1 = s32[]{:T(128)} parameter(1)
  ROOT %slice.1 = bf16[1,512]{1,0:T(8,128)(2,1)} dynamic-slice(%param_0, %param_1, %param_1), dynamic_slice_sizes={1,512}
}

%body (arg: (bf16[8,512], s32[])) -> (bf16[8,512], s32[]) {
  %arg = (bf16[8,512]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) parameter(0)
  %x = bf16[8,512]{1,0:T(8,128)(2,1)} get-tuple-element(%arg), index=0
  %i = s32[]{:T(128)S(6)} get-tuple-element(%arg), index=1
  %row = bf16[1,512]{1,0:T(8,128)(2,1)S(1)} fusion(%x, %i), kind=kLoop, calls=%fused, backend_config={"estimated_cycles":"150"}
  %y = bf16[8,512]{1,0:T(8,128)(2,1)} negate(%x), backend_config={"estimated_cycles":"50"}
  ROOT %out = (bf16[8,512]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) tuple(%y, %i)
}

%condition (arg.1: (bf16[8,512], s32[])) -> pred[] {
  %arg.1 = (bf16[8,512]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) parameter(0)
  ROOT %more = pred[]{:T(512)} constant(true)
}

ENTRY %main (weights: bf16[8,512], start: s32[]) -> (bf16[8,512], s32[]) {
  %weights = bf16[8,512]{1,0:T(8,128)(2,1)} parameter(0)
  %start = s32[]{:T(128)} parameter(1)
  %both = (bf16[8,512]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) tuple(%weights, %start)
  ROOT %loop = (bf16[8,512]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) while(%both), condition=%condition, body=%body TRIPS
}
"""
"""A loop whose body reads 1 KiB by a slice, and 8 KiB that it writes again."""

KNOWN_LOOP = LOOP.replace(" TRIPS", ', backend_config={"known_trip_count":{"n":"5"}}')
UNKNOWN_LOOP = LOOP.replace(" TRIPS", "")
COUNTING_LOOP = UNKNOWN_LOOP.replace(
    "ROOT %more = pred[]{:T(512)} constant(true)",
    """%i.1 = s32[]{:T(128)} get-tuple-element(%arg.1), index=1
  %end = s32[]{:T(128)} constant(5)
  ROOT %more = pred[]{:T(512)} compare(%i.1, %end), direction=LT""",
)
"""Here only the loop's condition says how often it runs."""

KERNEL = """HloModule jit_step, is_scheduled=true

%added (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

ENTRY %main (cache: bf16[1000,2,512], weight: bf16[2048,512], q: bf16[8,512]) -> bf16[1000,2,512] {
  %cache = bf16[1000,2,512]{2,1,0:T(2,128)(2,1)} parameter(0), metadata={op_name="cache"}
  %weight = bf16[2048,512]{1,0:T(8,128)(2,1)} parameter(1)
  %q = bf16[8,512]{1,0:T(8,128)(2,1)} parameter(2)
  %start = (bf16[2048,512]{1,0:T(8,128)(2,1)S(1)}, bf16[2048,512]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%weight)
  %attention.3 = (bf16[8,512]{1,0:T(8,128)(2,1)}, bf16[1000,2,512]{2,1,0:T(2,128)(2,1)}) custom-call(%q, /*index=1*/%cache), custom_call_target="tpu_custom_call", output_to_operand_aliasing={{1}: (1, {})}, frontend_attributes={kernel_metadata={
  "a": "line break"
}}, backend_config={"used_scoped_memory_configs":[{"memory_space":"1","offset":"1024","size":"3072"}]}
  %prefetched = bf16[2048,512]{1,0:T(8,128)(2,1)S(1)} copy-done(%start)
  %out = bf16[8,512]{1,0:T(8,128)(2,1)} get-tuple-element(%attention.3), index=0
  %reduced = bf16[8,512]{1,0:T(8,128)(2,1)S(1)} all-reduce(%out), to_apply=%added
  %product = bf16[8,2048]{1,0:T(8,128)(2,1)S(1)} convolution(%reduced, %prefetched), dim_labels=bf_oi->bf
  %new = bf16[1000,2,512]{2,1,0:T(2,128)(2,1)} get-tuple-element(%attention.3), index=1
  ROOT %copied = bf16[1000,2,512]{1,2,0:T(8,128)(2,1)} copy(%new), metadata={op_name="jit(step)/reshape"}
}
"""
"""A kernel over a cache that is then copied, while a weight is on its way to VMEM; an all-reduce, while none is."""
CACHE_BYTES = 1000 * 2 * 512 * 2

BRANCHES = """HloModule jit_step, is_scheduled=true

%small (x.1: f32[128]) -> f32[128] {
  %x.1 = f32[128]{0:T(128)} parameter(0)
  ROOT %n.1 = f32[128]{0:T(128)} negate(%x.1)
}

%large (x.2: f32[128]) -> f32[128] {
  %x.2 = f32[128]{0:T(128)} parameter(0)
  %n.2 = f32[128]{0:T(128)} negate(%x.2)
  ROOT %n.3 = f32[128]{0:T(128)} negate(%n.2), metadata={op_name="jit(step)/cond/branch_1_fun/top_p/neg"}
}

ENTRY %main (which: s32[], x: f32[128]) -> f32[128] {
  %which = s32[]{:T(128)} parameter(0)
  %x = f32[128]{0:T(128)} parameter(1)
  ROOT %chosen = f32[128]{0:T(128)} conditional(%which, %x, %x), branch_computations={%small, %large}, metadata={op_name="jit(step)/cond"}
}
"""
"""Two branches; the second moves twice as much, and is below a scope."""
