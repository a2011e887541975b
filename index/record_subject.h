#ifndef DIME_INDEX_RECORD_SUBJECT_H_
#define DIME_INDEX_RECORD_SUBJECT_H_

#include "index/item_filter.h"
#include "index/item_records.h"

namespace dime {

// What a filter sees of a record, in place: the record must outlive it.
inline FilterSubject SubjectOf(const ImageRecord& record) {
  return {.modality = Modality::kImage,
          .id = record.id,
          .uri = record.uri,
          .create_time = record.create_time,
          .update_time = record.update_time,
          .payload = &record.payload};
}
inline FilterSubject SubjectOf(const CaptionRecord& record) {
  return {.modality = Modality::kCaption,
          .id = record.id,
          .uri = record.uri,
          .text = record.text,
          .image_id = record.image_id,
          .create_time = record.create_time,
          .update_time = record.update_time,
          .payload = &record.payload};
}

}  // namespace dime

#endif  // DIME_INDEX_RECORD_SUBJECT_H_
