"""One file an answer format: report, mask, picture, COCO, zip."""
