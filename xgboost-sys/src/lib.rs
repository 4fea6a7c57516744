//! libxgboost's C API, as far as the crate `xgb` calls it.
//!
//! The declarations are those that bindgen 0.71 makes of `xgboost/c_api.h` of version 3.4; the documentation of each
//! function is in that header. Every function but `XGBGetLastError` gives 0, or -1 and a text for `XGBGetLastError`.
#![expect(non_camel_case_types, reason = "the names of the C API")]

use std::ffi::{c_char, c_int, c_uint, c_void};

/// Counts and lengths.
pub type bst_ulong = u64;
/// A matrix of feature vectors, freed with `XGDMatrixFree`.
pub type DMatrixHandle = *mut c_void;
/// A model, freed with `XGBoosterFree`.
pub type BoosterHandle = *mut c_void;

unsafe extern "C" {
    pub fn XGBGetLastError() -> *const c_char;
    pub fn XGDMatrixCreateFromURI(config: *const c_char, out: *mut DMatrixHandle) -> c_int;
    pub fn XGDMatrixCreateFromCSR(
        indptr: *const c_char,
        indices: *const c_char,
        data: *const c_char,
        ncol: bst_ulong,
        config: *const c_char,
        out: *mut DMatrixHandle,
    ) -> c_int;
    pub fn XGDMatrixCreateFromCSC(
        indptr: *const c_char,
        indices: *const c_char,
        data: *const c_char,
        nrow: bst_ulong,
        config: *const c_char,
        out: *mut DMatrixHandle,
    ) -> c_int;
    pub fn XGDMatrixCreateFromMat(
        data: *const f32,
        nrow: bst_ulong,
        ncol: bst_ulong,
        missing: f32,
        out: *mut DMatrixHandle,
    ) -> c_int;
    pub fn XGDMatrixSliceDMatrix(
        handle: DMatrixHandle,
        idxset: *const c_int,
        len: bst_ulong,
        out: *mut DMatrixHandle,
    ) -> c_int;
    pub fn XGDMatrixFree(handle: DMatrixHandle) -> c_int;
    pub fn XGDMatrixSaveBinary(handle: DMatrixHandle, fname: *const c_char, silent: c_int) -> c_int;
    pub fn XGDMatrixSetFloatInfo(
        handle: DMatrixHandle,
        field: *const c_char,
        array: *const f32,
        len: bst_ulong,
    ) -> c_int;
    pub fn XGDMatrixSetUIntInfo(
        handle: DMatrixHandle,
        field: *const c_char,
        array: *const c_uint,
        len: bst_ulong,
    ) -> c_int;
    pub fn XGDMatrixSetStrFeatureInfo(
        handle: DMatrixHandle,
        field: *const c_char,
        features: *mut *const c_char,
        size: bst_ulong,
    ) -> c_int;
    pub fn XGDMatrixGetStrFeatureInfo(
        handle: DMatrixHandle,
        field: *const c_char,
        size: *mut bst_ulong,
        out_features: *mut *mut *const c_char,
    ) -> c_int;
    pub fn XGDMatrixGetFloatInfo(
        handle: DMatrixHandle,
        field: *const c_char,
        out_len: *mut bst_ulong,
        out_dptr: *mut *const f32,
    ) -> c_int;
    pub fn XGDMatrixGetUIntInfo(
        handle: DMatrixHandle,
        field: *const c_char,
        out_len: *mut bst_ulong,
        out_dptr: *mut *const c_uint,
    ) -> c_int;
    pub fn XGDMatrixNumRow(handle: DMatrixHandle, out: *mut bst_ulong) -> c_int;
    pub fn XGDMatrixNumCol(handle: DMatrixHandle, out: *mut bst_ulong) -> c_int;
    pub fn XGDMatrixNumNonMissing(handle: DMatrixHandle, out: *mut bst_ulong) -> c_int;
    pub fn XGBoosterCreate(dmats: *const DMatrixHandle, len: bst_ulong, out: *mut BoosterHandle) -> c_int;
    pub fn XGBoosterFree(handle: BoosterHandle) -> c_int;
    pub fn XGBoosterSlice(
        handle: BoosterHandle,
        begin_layer: c_int,
        end_layer: c_int,
        step: c_int,
        out: *mut BoosterHandle,
    ) -> c_int;
    pub fn XGBoosterSetParam(handle: BoosterHandle, name: *const c_char, value: *const c_char) -> c_int;
    pub fn XGBoosterUpdateOneIter(handle: BoosterHandle, iter: c_int, dtrain: DMatrixHandle) -> c_int;
    pub fn XGBoosterBoostOneIter(
        handle: BoosterHandle,
        dtrain: DMatrixHandle,
        grad: *mut f32,
        hess: *mut f32,
        len: bst_ulong,
    ) -> c_int;
    pub fn XGBoosterEvalOneIter(
        handle: BoosterHandle,
        iter: c_int,
        dmats: *mut DMatrixHandle,
        evnames: *mut *const c_char,
        len: bst_ulong,
        out_result: *mut *const c_char,
    ) -> c_int;
    pub fn XGBoosterPredict(
        handle: BoosterHandle,
        dmat: DMatrixHandle,
        option_mask: c_int,
        ntree_limit: c_uint,
        training: c_int,
        out_len: *mut bst_ulong,
        out_result: *mut *const f32,
    ) -> c_int;
    pub fn XGBoosterPredictFromDMatrix(
        handle: BoosterHandle,
        dmat: DMatrixHandle,
        config: *const c_char,
        out_shape: *mut *const bst_ulong,
        out_dim: *mut bst_ulong,
        out_result: *mut *const f32,
    ) -> c_int;
    pub fn XGBoosterLoadModel(handle: BoosterHandle, fname: *const c_char) -> c_int;
    pub fn XGBoosterSaveModel(handle: BoosterHandle, fname: *const c_char) -> c_int;
    pub fn XGBoosterLoadModelFromBuffer(handle: BoosterHandle, buf: *const c_void, len: bst_ulong) -> c_int;
    pub fn XGBoosterSaveModelToBuffer(
        handle: BoosterHandle,
        config: *const c_char,
        out_len: *mut bst_ulong,
        out_dptr: *mut *const c_char,
    ) -> c_int;
    pub fn XGBoosterDumpModelEx(
        handle: BoosterHandle,
        fmap: *const c_char,
        with_stats: c_int,
        format: *const c_char,
        out_len: *mut bst_ulong,
        out_dump_array: *mut *mut *const c_char,
    ) -> c_int;
    pub fn XGBoosterGetAttr(
        handle: BoosterHandle,
        key: *const c_char,
        out: *mut *const c_char,
        success: *mut c_int,
    ) -> c_int;
    pub fn XGBoosterSetAttr(handle: BoosterHandle, key: *const c_char, value: *const c_char) -> c_int;
    pub fn XGBoosterGetAttrNames(handle: BoosterHandle, out_len: *mut bst_ulong, out: *mut *mut *const c_char)
    -> c_int;
    pub fn XGBoosterSetStrFeatureInfo(
        handle: BoosterHandle,
        field: *const c_char,
        features: *mut *const c_char,
        size: bst_ulong,
    ) -> c_int;
    pub fn XGBoosterGetStrFeatureInfo(
        handle: BoosterHandle,
        field: *const c_char,
        len: *mut bst_ulong,
        out_features: *mut *mut *const c_char,
    ) -> c_int;
}
