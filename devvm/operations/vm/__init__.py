"""Operations on one VM."""
