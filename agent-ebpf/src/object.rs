//! Kernel objects by typed loads: no helper call, and the verifier follows every step. What they mean is not known here.

/// A kernel object as the verifier knows it: a typed pointer, or null.
pub type Object = *const u8;

/// Reads a field of a kernel object by a plain load.
///
/// # Safety
/// `object` is a typed kernel pointer and `offset` that of a field of type `T` in it. The verifier checks both, and
/// a load that faults yields zeros (kernel/bpf: PTR_TO_BTF_ID loads have exception table entries).
#[inline(always)]
pub unsafe fn load<T: Copy>(object: Object, offset: u32) -> T {
    // SAFETY: by the contract above; volatile keeps the width of the load that of the field.
    unsafe { object.add(offset as usize).cast::<T>().read_volatile() }
}
