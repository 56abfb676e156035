"""Rows of a Parquet file, as far as they take memory in proportion to the file.

A dictionary page holds a long text once, and a few bytes say that it stands in a million rows; an empty column is a count
alone. So what the rows would take is counted before they are built: cells by the file's own table of contents, texts batch
by batch while they are still numbers that point into a dictionary.
"""

from typing import Any

from iteralign.text.bounded import BeyondBounds, unpacked_most

_BATCH = 1024
_BYTES_PER_CELL = 16


def parquet_rows(data: bytes, most: int) -> list[dict[str, Any]]:
    """Every row. Raises ValueError or OSError for what is damaged, BeyondBounds for what unpacks to too much."""
    import pyarrow
    from pyarrow import parquet

    limit = unpacked_most(len(data), most)
    try:
        plain = parquet.ParquetFile(pyarrow.BufferReader(data))
        _check_cells(plain.metadata, limit)
        columns = [plain.schema.column(number).path for number in range(len(plain.schema))]
        # what is repeated stays a number
        file = parquet.ParquetFile(pyarrow.BufferReader(data), read_dictionary=columns)
        rows: list[dict[str, Any]] = []
        taken = 0
        for batch in file.iter_batches(batch_size=_BATCH):
            taken += sum(map(_size, batch.columns))
            _check(taken, limit)
            rows.extend(batch.to_pylist())
        return rows
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error


def _check_cells(metadata: Any, limit: int) -> None:
    """What the file says of itself: rows, cells (also of lists in a row) and bytes of its pages."""
    cells = metadata.num_rows * max(1, metadata.num_columns)
    pages = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(column) for column in range(group.num_columns)]
        cells = max(cells, sum(chunk.num_values for chunk in chunks))
        pages += sum(chunk.total_uncompressed_size for chunk in chunks)
    _check(max(cells * _BYTES_PER_CELL, pages), limit)


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise BeyondBounds(
            f"its rows take more than {limit // 1024**2:,} MiB, which is more than is read of a file of this size; convert "
            "it to JSONL if you know what it is"
        )


def _size(array: Any) -> int:
    """Bytes of the values in an Arrow array, each counted as often as it occurs."""
    import pyarrow
    from pyarrow import compute, types

    kind = array.type
    if types.is_dictionary(kind):
        lengths = compute.take(compute.binary_length(array.dictionary), array.indices)
        return int(compute.sum(lengths).as_py() or 0) + _BYTES_PER_CELL * len(array)
    if types.is_struct(kind):
        return sum(map(_size, array.flatten()))
    if types.is_map(kind):
        return _size(array.keys) + _size(array.items)
    if types.is_nested(kind) and hasattr(array, "flatten"):
        return _size(array.flatten()) + _BYTES_PER_CELL * len(array)
    return int(array.nbytes) + _BYTES_PER_CELL * len(array) if isinstance(array, pyarrow.Array) else 0
