"""The audit: what this book measures of its own models, measured of a reader's.

    python -m helpers.audit --model A [--model B] --data fashion-mnist|FOLDER [--html FILE]

Does A draw copies of its training images, or new ones? Do A and B draw the same from the same noise, and more so than mean
and covariance explain? How much of the noise do they take out, beside the best that the training images allow?

    subjects    a model of the zoo, of a diffusers folder, or of module:function, with the images that it learned from
    rulers      by what two images are compared, and whether that fits them
    measures    all numbers
    report      sections with tables and figures, as text or as one self-contained page
"""
